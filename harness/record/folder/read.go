// Package folder reads and writes the folder of a run. It checks what it reads, and writes
// nothing that it could not read again.
package folder

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"connbench/harness/explain"
	"connbench/harness/record"
	"connbench/harness/record/strict"
)

// Bounds of what is read. They are far beyond any real run, and keep a hostile folder
// from filling memory.
const (
	maxManifestBytes  = 8 << 20
	maxTrialBytes     = 16 << 20
	maxTrials         = 10_000
	maxTrialsBytes    = 256 << 20
	maxSampleBytes    = 64 << 10
	maxSamplesBytes   = 2 << 30  // unpacked
	maxRatio          = 100      // unpacked ÷ packed, beyond the first MB; that of a run is 5 to 12
	maxListed         = 10_000   // elements of any one list or object
	maxTextBytes      = 64 << 10 // any one text
	maxHistogramBytes = 4 << 20
	maxNumber         = 1e20 // any one number: sums and squares of it stay finite, and a 64-bit seed is less
)

// Open reads and checks the manifest and the trials of a run. path is its folder, or a
// trials file alone, which may be packed. [Samples] reads the samples. Errors name file and line.
func Open(path string) (*record.Run, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, explain.Hint(fmt.Errorf("there is no run %s", path), "name the folder of a run, or a %s", record.TrialsFile)
	case err != nil:
		return nil, err
	}
	run := &record.Run{Dir: path}
	if !info.IsDir() {
		return run, readTrials(run, path)
	}
	text, err := readBounded(filepath.Join(path, record.ManifestFile), maxManifestBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is not the folder of a run: it has no %s", path, record.ManifestFile)
	}
	if err != nil {
		return nil, err
	}
	if run.Manifest, err = decodeManifest(text); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(path, record.ManifestFile), err)
	}
	trials := filepath.Join(path, record.TrialsFile)
	if _, err := os.Lstat(trials + record.Packed); err == nil {
		trials += record.Packed
	}
	if err := readTrials(run, trials); err != nil {
		return nil, err
	}
	return run, nil
}

// Values reads the JSON values of a raw file of a run as they are, to check them against a
// schema. [Open] and [Samples] must have accepted the file before: they bound what it holds.
func Values(path string) iter.Seq2[any, error] {
	return func(yield func(any, error) bool) {
		from, err := openUnpacked(path, maxSamplesBytes)
		if err != nil {
			yield(nil, err)
			return
		}
		defer from.Close()
		for decoder := json.NewDecoder(io.LimitReader(from, from.limit)); ; {
			var value any
			err := decoder.Decode(&value)
			if errors.Is(err, io.EOF) || !yield(value, err) || err != nil {
				return
			}
		}
	}
}

// unpacked reads a file. It decompresses the file if its name ends with [record.Packed].
type unpacked struct {
	io.Reader
	file *os.File
	// limit is the largest number of bytes to read from it, decompressed.
	limit int64
}

// Close closes the file.
func (u unpacked) Close() error { return u.file.Close() }

// openUnpacked opens a file to read at most so many bytes from it, decompressed.
func openUnpacked(path string, most int64) (u unpacked, err error) {
	u.limit = most
	if u.file, err = openRegular(path); err != nil {
		return u, err
	}
	u.Reader = u.file
	if !strings.HasSuffix(path, record.Packed) {
		return u, nil
	}
	info, err := u.file.Stat()
	if err == nil {
		u.limit = min(most, 1<<20+maxRatio*info.Size())
		u.Reader, err = gzip.NewReader(u.file)
	}
	if err != nil {
		u.Close()
		return u, fmt.Errorf("%s: %w", path, err)
	}
	return u, nil
}

// openRegular opens a regular file. It refuses links, which lead elsewhere, and pipes,
// which may never end.
func openRegular(path string) (*os.File, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	return os.Open(path)
}

func readBounded(path string, limit int64) ([]byte, error) {
	file, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = fmt.Errorf("%s is larger than %d bytes: this is no file of connbench", path, limit)
	}
	return text, err
}

func readTrials(run *record.Run, path string) error {
	from, err := openUnpacked(path, maxTrialsBytes)
	if err != nil {
		return err
	}
	defer from.Close()
	seen := map[int]int{}
	total := int64(0)
	lines := newLines(from, maxTrialBytes)
	for lines.next() {
		if total += int64(len(lines.text)); total > from.limit {
			return lines.errorf(path, "file holds more than %d bytes: this is no file of connbench", from.limit)
		}
		if len(bytes.TrimSpace(lines.text)) == 0 {
			continue
		}
		trial, err := decodeTrial(lines.text)
		if err != nil && lines.torn && !json.Valid(lines.text) {
			run.Warnings = append(run.Warnings, fmt.Sprintf("%s:%d: last line is incomplete and was left out: the run was killed while it wrote it",
				filepath.Base(path), lines.number))
			break
		}
		if err != nil {
			return lines.errorf(path, "%w", err)
		}
		if before, twice := seen[trial.Trial]; twice {
			return lines.errorf(path, "trial %d is in line %d already", trial.Trial, before)
		}
		seen[trial.Trial] = lines.number
		if run.Trials = append(run.Trials, trial); len(run.Trials) > maxTrials {
			return lines.errorf(path, "more than %d trials: this is no file of connbench", maxTrials)
		}
	}
	if lines.err != nil {
		return lines.errorf(path, "%w", lines.err)
	}
	record.JudgeSpins(run.Trials)
	return nil
}

// Samples reads the samples of a run one after the other. It is no error if there are none, or if
// those of the last seconds are missing because the run was killed.
func Samples(run *record.Run) iter.Seq2[record.Sample, error] {
	return func(yield func(record.Sample, error) bool) {
		if run.Manifest.Schema == 0 { // a trials file alone has no samples
			return
		}
		path := filepath.Join(run.Dir, record.SamplesFile)
		from, err := openUnpacked(path, maxSamplesBytes)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return
		}
		if err != nil {
			yield(record.Sample{}, err)
			return
		}
		defer from.Close()
		lines := newLines(from, maxSampleBytes)
		total := int64(0)
		for lines.next() {
			if total += int64(len(lines.text)); total > from.limit {
				yield(record.Sample{}, lines.errorf(path, "file holds more than %d bytes: this is no file of connbench", from.limit))
				return
			}
			sample, err := decodeSample(lines.text)
			if err != nil && lines.torn && !json.Valid(lines.text) {
				return
			}
			if err != nil {
				yield(record.Sample{}, lines.errorf(path, "%w", err))
				return
			}
			if !yield(sample, nil) {
				return
			}
		}
		if lines.err != nil && !errors.Is(lines.err, io.ErrUnexpectedEOF) {
			yield(record.Sample{}, lines.errorf(path, "%w", lines.err))
		}
	}
}

// lines reads one line after the other, none longer than limit bytes.
type lines struct {
	reader *bufio.Reader
	limit  int
	text   []byte
	number int
	torn   bool // the last line, without an end
	err    error
}

func newLines(r io.Reader, limit int) *lines {
	return &lines{reader: bufio.NewReaderSize(r, 64<<10), limit: limit}
}

func (l *lines) next() bool {
	l.text = l.text[:0]
	l.number++
	for {
		part, err := l.reader.ReadSlice('\n')
		l.text = append(l.text, part...)
		switch {
		case len(l.text) > l.limit:
			l.err = fmt.Errorf("line is longer than %d bytes: this is no file of connbench", l.limit)
			return false
		case err == nil:
			return true
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		}
		if !errors.Is(err, io.EOF) {
			l.err = err
		}
		l.torn = true
		return len(l.text) > 0
	}
}

func (l *lines) errorf(path, format string, values ...any) error {
	return fmt.Errorf("%s:%d: %w", path, l.number, fmt.Errorf(format, values...))
}

// decodeManifest reads a manifest and checks it.
func decodeManifest(text []byte) (m record.Manifest, err error) {
	if err = decode(text, &m); err == nil {
		err = checkManifest(&m)
	}
	return m, err
}

// decodeTrial reads the line of a trial and checks it.
func decodeTrial(line []byte) (t record.Trial, err error) {
	if err = decode(line, &t); err == nil {
		err = checkTrial(&t)
	}
	return t, err
}

// decodeSample reads the line of a sample and checks it.
func decodeSample(line []byte) (s record.Sample, err error) {
	if err = strict.Decode(line, &s); err == nil {
		err = checkSample(&s)
	}
	return s, err
}

// decode reads a text with a schema number. It refuses a newer schema before it reads
// anything else, which it could misunderstand.
func decode(text []byte, target any) error {
	var version struct {
		Schema *int `json:"schema"`
	}
	if err := json.Unmarshal(text, &version); err != nil {
		return strict.Explain(err)
	}
	switch {
	case version.Schema == nil:
		return errors.New("schema is missing: this is no file of connbench")
	case *version.Schema > record.Schema:
		return fmt.Errorf("newer schema: schema %d is newer than the %d that this connbench reads: update connbench", *version.Schema, record.Schema)
	case *version.Schema < 1:
		return fmt.Errorf("schema is %d: it must be at least 1", *version.Schema)
	}
	return strict.Decode(text, target)
}
