package record

// For tests that have the phases, and so all objects of a trial.
var (
	DecodeTrial    = decodeTrial
	DecodeManifest = decodeManifest
	DecodeSample   = decodeSample
)

// Encode is the line that is written of a trial.
func (t Trial) Encode() ([]byte, error) { return t.encode() }

// Encode is the text that is written of a manifest.
func (m Manifest) Encode() ([]byte, error) { return m.encode() }
