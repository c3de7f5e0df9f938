"""The classic ETL, in one transaction."""

import _classic

if __name__ == "__main__":
    _classic.load(autocommit=False)
