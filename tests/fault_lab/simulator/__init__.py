"""The whole flow in one thread: real functions, a virtual clock, a broker that loses messages.

What happens, and what goes wrong, is drawn from a seed, so every schedule can be played again.
"""
