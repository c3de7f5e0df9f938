"""The classic ETL, each row committed by itself."""

import _classic

if __name__ == "__main__":
    _classic.load(autocommit=True)
