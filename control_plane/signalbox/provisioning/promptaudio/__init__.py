"""What callers hear of prompts: files that are uploaded, texts that are spoken."""
