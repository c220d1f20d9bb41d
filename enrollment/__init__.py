"""The domain of enrollment and its storage; knows neither gateway nor worker."""
