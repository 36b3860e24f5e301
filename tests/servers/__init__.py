"""Mail servers the tests start privately, on loopback, in directories of their own."""
