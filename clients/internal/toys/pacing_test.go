package toys

import (
	"encoding/json"
	"errors"
	"math"

	"connbench/clients/internal/options"
	"connbench/clients/internal/pacing"
)

// burst is a pacing: so many events at once, then a pause.
type burst struct {
	size   float64
	period float64 // nanoseconds
}

func init() {
	pacing.Pacings.Add("bursts", func(rate float64, text json.RawMessage) (pacing.Pacing, error) {
		o, err := options.Decode[struct {
			Size int `json:"size"`
		}](text)
		if err == nil && o.Size <= 0 {
			err = errors.New("size must be positive")
		}
		return burst{float64(o.Size), float64(o.Size) / rate * 1e9}, err
	})
}

func (b burst) At(n float64) float64    { return math.Floor(n/b.size) * b.period }
func (b burst) Count(t float64) float64 { return math.Ceil(t/b.period) * b.size }
