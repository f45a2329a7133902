"""Texts classified behind plain FastAPI, as its documentation shows it: ``python -m benchmarks.plain MODEL PORT``."""

import sys

import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer


class Asked(BaseModel):
    """A text."""

    prompt: str


app = FastAPI()
torch.set_num_threads(1)
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = AutoModelForSequenceClassification.from_pretrained(sys.argv[1]).eval()


@app.get("/health")
def health() -> dict[str, str]:
    """Answers once the model is loaded."""
    return {"status": "ok"}


@app.post("/predict")
def predict(asked: Asked) -> dict[str, object]:
    """One text at a time, on FastAPI's pool of threads."""
    with torch.inference_mode():
        scores = model(**tokenizer(asked.prompt, truncation=True, return_tensors="pt")).logits.softmax(dim=-1)[0].tolist()
    best = max(range(len(scores)), key=scores.__getitem__)
    return {"response": model.config.id2label[best], "score": scores[best]}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
