"""Deterministic simulation of the whole service in one thread.

It runs the real functions on a virtual clock, with a broker that loses messages and processes that
crash. A seed decides every step and every fault, so a schedule can be repeated.
"""
