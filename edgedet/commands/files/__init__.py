"""Commands about one file: what it holds and means, and what other makers read and write."""
