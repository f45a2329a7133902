"""The drill: makes a real shortage with AWS Fault Injection Service for a bounded time, and judges what the controller makes of it."""
