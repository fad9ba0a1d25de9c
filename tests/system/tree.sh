#!/bin/sh
# The tree itself: who includes whom, banned calls, headers that compile alone.
exec tools/check-tree
