"""What every floor may use: errors, logging, seeding, distributed calls, safe unpickling."""
