"""A Flickr-style sample collection from real imagery, with true coordinates, that may be given away.

========================  ==========================================================
``imagery``, ``camera``   views of NASA's Blue Marble, and photos of them
``places``, ``people``    where photos are taken, and by whom
``words``                 what is written beside them
``scenes``                the law that photos follow
``metadata``              YFCC100M's lines
``faults``                what is wrong in real collections: the table of all of it
``collection``, ``plan``  both collections, drawn from a seed
``facts``                 what the pipeline must make of them
``make``                  the files
========================  ==========================================================
"""

from im2gps_spark.sample.facts import CollectionFacts, SampleFacts
from im2gps_spark.sample.make import make_sample

__all__ = ["CollectionFacts", "SampleFacts", "make_sample"]
