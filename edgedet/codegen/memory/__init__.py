"""Where every tensor of a generated module lies: planning, sharing, patches."""
