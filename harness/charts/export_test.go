package charts

// RampPoints is what the tests of whole runs look at.
const RampPoints = rampPoints
