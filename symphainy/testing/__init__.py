"""What tests are made of: virtual time, seeded chance, real servers on loopback, and one suite of rules per port."""
