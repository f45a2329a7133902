"""The AWS sample's route for text: what it takes and gives, whatever engine generates."""

from pydantic import Field

from failover_model_server.tasks.base import Answer, Body

ROUTE = "/gentext"
MOST_CHARACTERS = 200_000
"""Of a prompt."""


class TextGenerationRequest(Body):
    """A prompt, and how to continue it."""

    prompt: str = Field(min_length=1, max_length=MOST_CHARACTERS, examples=["The capital of France is"])
    chat: bool = Field(False, description="Put the prompt into the model's chat template, as what the user says.")
    max_new_tokens: int | None = Field(None, ge=1, description="Most tokens to generate; the server's setting if left out.")
    temperature: float = Field(0.0, ge=0, le=10, description="0 takes the likeliest token each time.")
    top_p: float = Field(1.0, gt=0, le=1, description="Choose among the likeliest tokens that have this probability together.")
    seed: int | None = Field(None, ge=0, lt=2**63, description="Makes sampling repeatable; random if left out.")


class TextGenerationResponse(Answer):
    """The continuation."""

    response: str = Field(description="What the model added; the prompt is not repeated.")
    tokens: int = Field(description="Tokens generated.")
    finish_reason: str = Field(description="stop: the model ended the text; length: the limit did.")
    seed: int = Field(description="What repeats this answer, where it was sampled.")
