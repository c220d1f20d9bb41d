"""The subject itself: values in, values out, standard library only."""
