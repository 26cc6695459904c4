package folder

// For tests that have the phases, and so all objects of a trial.
var (
	DecodeTrial    = decodeTrial
	DecodeManifest = decodeManifest
	DecodeSample   = decodeSample
	EncodeTrial    = encodeTrial
	EncodeManifest = encodeManifest
)
