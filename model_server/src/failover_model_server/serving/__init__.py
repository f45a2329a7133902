"""From a request to its response: admission, batches, workers, warming, the watchdog."""
