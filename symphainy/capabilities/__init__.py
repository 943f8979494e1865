"""What the platform can do. One capability never imports another: it submits an intent."""
