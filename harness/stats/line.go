// Package stats decides what measurements allow us to say: slopes and medians with
// their intervals, and which figures differ. It assumes as little as possible about
// the distribution of figures.
package stats

import (
	"math"

	moremath "github.com/aclements/go-moremath/stats"
)

// Confidence is the level of every interval and of every decision.
const Confidence = 0.95

// Point is one measurement y at x connections.
type Point struct{ X, Y float64 }

// Fit is a line y = Intercept + Slope·x through points. Low and High are the
// interval of its slope.
type Fit struct {
	Slope, Low, High float64
	Intercept        float64
	Points           int
}

// Line fits points by ordinary least squares. The interval of the slope is
// slope ± t·s/√Σ(x-x̄)², with s² the residuals' sum of squares over n-2 and t the
// quantile of Student's t with n-2 degrees of freedom. Line is false for fewer
// than three points, which leave nothing to judge the fit by, and when all x are
// the same.
func Line(points []Point) (Fit, bool) {
	n := float64(len(points))
	if n < 3 {
		return Fit{}, false
	}
	var meanX, meanY float64
	for _, p := range points {
		meanX += p.X / n
		meanY += p.Y / n
	}
	// Sums around the means: sums of squares of bytes would lose the digits that
	// matter.
	var xx, xy float64
	for _, p := range points {
		xx += (p.X - meanX) * (p.X - meanX)
		xy += (p.X - meanX) * (p.Y - meanY)
	}
	if xx == 0 {
		return Fit{}, false
	}
	slope := xy / xx
	var residuals float64
	for _, p := range points {
		r := p.Y - meanY - slope*(p.X-meanX)
		residuals += r * r
	}
	half := studentT(n-2) * math.Sqrt(residuals/(n-2)/xx)
	return Fit{
		Slope:     slope,
		Low:       slope - half,
		High:      slope + half,
		Intercept: meanY - slope*meanX,
		Points:    len(points),
	}, true
}

// studentT is the factor of a two-sided interval at Confidence: the quantile of
// Student's t with that many degrees of freedom.
func studentT(degrees float64) float64 {
	return moremath.InvCDF(moremath.TDist{V: degrees})(1 - (1-Confidence)/2)
}
