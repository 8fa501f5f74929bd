"""Programs for the people who build the package: demo, robustness, measurements, the site."""
