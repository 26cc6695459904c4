package opening

import (
	"net/http"
	"sync/atomic"
	"time"
)

// date is the text of a Date field (RFC 9110 section 6.6.1) that holds for one second.
type date struct {
	second int64
	text   []byte
}

// latest is the date of the latest answer. No clock ticks for it: idle means idle.
var latest atomic.Pointer[date]

// appendDate appends the value of a Date field.
func appendDate(out []byte, now time.Time) []byte {
	d := latest.Load()
	if second := now.Unix(); d == nil || d.second != second {
		d = &date{second, now.UTC().AppendFormat(nil, http.TimeFormat)}
		latest.Store(d)
	}
	return append(out, d.text...)
}
