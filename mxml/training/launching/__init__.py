"""Runs on several processes and machines: started, connected and supervised."""
