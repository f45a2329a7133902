"""What to do now, and why: the decision, its plan, and the memory to keep.

For `controller.routing.conclusion`, which completes the plan with exact requests; for those who explain a decision or ask what comes next.
"""

from controller.policy.decision.conclusion import Conclusion, conclude
from controller.policy.decision.decide import observed_mode
from controller.policy.decision.forecast import Forecast, forecast, overridden, refused_everywhere
from controller.policy.decision.steady import DRAIN_S

__all__ = ["DRAIN_S", "Conclusion", "Forecast", "conclude", "forecast", "observed_mode", "overridden", "refused_everywhere"]
