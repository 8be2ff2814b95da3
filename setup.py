from setuptools import setup
from setuptools.command.egg_info import manifest_maker

manifest_maker.template = ".ci/MANIFEST.in"  # the sdist holds the tests too
setup()
