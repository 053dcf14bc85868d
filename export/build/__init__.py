"""The build spine, one for every network family: recipe -> components -> typed graphs -> engines -> gates -> bundle."""
