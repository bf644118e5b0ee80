"""What one step computes: batch in, losses by name out. The loop knows no objective."""
