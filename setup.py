"""Lets tools that still call setup.py build the project; everything is said in pyproject.toml."""

from setuptools import setup

setup()
