"""The process that MXNet runs in: imports, threads, devices, and what the doctor finds."""
