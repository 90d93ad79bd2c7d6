"""The report of an audit as a page that opens in any browser, without a network."""
