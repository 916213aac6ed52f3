"""What a plan is made of: a module a stage, with its operations, what they are planned from and what forbids them."""
