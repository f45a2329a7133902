"""What a person must know because the controller cannot settle it alone.

For the decision, which carries the alerts. What each kind of alert says is in `controller.policy.alert_kinds`.
"""

from controller.policy.alerts.of_application import CLOCKS_APART_S, alerts

__all__ = ["CLOCKS_APART_S", "alerts"]
