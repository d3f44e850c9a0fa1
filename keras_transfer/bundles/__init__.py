"""Writes bundles: a proven file with everything that lets it be used and tested far from here, a row a target."""
