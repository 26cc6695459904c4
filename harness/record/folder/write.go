package folder

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"connbench/harness/atomicfile"
	"connbench/harness/cause"
	"connbench/harness/explain"
	"connbench/harness/naming"
	"connbench/harness/record"
)

// flushSamples is the number of samples between two flushes: ten seconds' worth.
const flushSamples = 20

// Writer writes the folder of a run while the run goes on. Trials are on disk when their
// method returns, so that a killed run keeps them. It writes nothing that a reader would
// refuse. Its methods may be called from several goroutines.
type Writer struct {
	dir string

	mu      sync.Mutex
	trials  *os.File
	samples *os.File
	// count and bytes are the number and size of the trials, sampleBytes the size of the
	// samples, unpacked.
	count, bytes, sampleBytes int
	// member is the gzip member for the samples of trial sampled; nil between trials.
	// With a member of its own, each trial's samples can be read even if the next member is
	// incomplete.
	member  *gzip.Writer
	sampled int
	pending int
}

// Create makes the folder of a new run, and the folders above it, and writes the manifest.
// It returns an error, and makes nothing, if m could not be read again. A folder with files
// in it is an error too.
func Create(dir string, m record.Manifest) (*Writer, error) {
	text, err := encodeManifest(m)
	if err != nil {
		return nil, err
	}
	w := &Writer{dir: dir}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, w.explain(err)
	}
	switch entries, err := os.ReadDir(dir); {
	case err != nil:
		return nil, w.explain(err)
	case len(entries) > 0:
		return nil, explain.Hint(fmt.Errorf("%s is not empty", dir), "choose another results folder, or move this one away")
	}
	if w.trials, err = create(dir, record.TrialsFile); err != nil {
		return nil, w.explain(err)
	}
	if w.samples, err = create(dir, record.SamplesFile); err != nil {
		return nil, w.explain(errors.Join(err, w.trials.Close()))
	}
	if err := atomicfile.Write(filepath.Join(dir, record.ManifestFile), text); err != nil {
		return nil, w.explain(errors.Join(err, w.trials.Close(), w.samples.Close()))
	}
	return w, nil
}

// create makes a file that must not exist yet.
func create(dir, name string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o644)
}

// WriteManifest replaces the manifest atomically: readers see the old one or the new
// one. It sets m's schema.
func (w *Writer) WriteManifest(m record.Manifest) error {
	text, err := encodeManifest(m)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.present(); err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(w.dir, record.ManifestFile), text); err != nil {
		return w.explain(err)
	}
	return nil
}

// WriteManifest replaces the manifest in the folder of a run that has ended.
func WriteManifest(dir string, m record.Manifest) error {
	text, err := encodeManifest(m)
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, record.ManifestFile), text)
}

// PackTrials compresses the trials file of a run that has ended. It does nothing if the file
// is compressed already.
func PackTrials(dir string) error {
	path := filepath.Join(dir, record.TrialsFile)
	text, err := readBounded(path, maxTrialsBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	if err = errors.Join(err, w.Close()); err != nil {
		return err
	}
	if err := atomicfile.Write(path+record.Packed, packed.Bytes()); err != nil {
		return err
	}
	return os.Remove(path)
}

// encodeManifest returns m as it is written. It returns an error if that could not be read again.
func encodeManifest(m record.Manifest) ([]byte, error) {
	m.Schema = record.Schema
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("the manifest cannot be written as JSON: %w", err)
	}
	if _, err := decodeManifest(text); err != nil {
		return nil, fmt.Errorf("the manifest could not be read again: %w", err)
	}
	return append(text, '\n'), nil
}

// AppendTrial adds t to the run's trials and waits until it is on disk. It sets t's schema,
// and ends the samples of the trial. It returns what it has filed: t, or an invalid trial
// without figures if t could not be read again.
func (w *Writer) AppendTrial(t record.Trial) (record.Trial, error) {
	t.Schema = record.Schema
	fillLists(&t)
	line, err := encodeTrial(t)
	if err != nil {
		t = without(t, err)
		if line, err = encodeTrial(t); err != nil {
			return t, fmt.Errorf("trial %d could not be read again: %w", t.Trial, err)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.count == maxTrials || w.bytes+len(line) > maxTrialsBytes {
		return t, fmt.Errorf("%s holds %d trials of %d MB together, and no more can be read", w.dir, w.count, w.bytes>>20)
	}
	if err := w.present(); err != nil {
		return t, err
	}
	if err := w.endMember(); err != nil {
		return t, w.explain(err)
	}
	if err := appendWhole(w.trials, line); err != nil {
		return t, w.explain(err)
	}
	w.count++
	w.bytes += len(line)
	return t, nil
}

// encodeTrial returns the line of a trial. It returns an error if that could not be read again.
func encodeTrial(t record.Trial) ([]byte, error) {
	line, err := json.Marshal(t)
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	if len(line) > maxTrialBytes {
		return nil, fmt.Errorf("%d MB are more than is read of a trial", len(line)>>20)
	}
	_, err = decodeTrial(line)
	return append(line, '\n'), err
}

// without returns t as an invalid trial without figures. why is what was wrong with them.
func without(t record.Trial, why error) record.Trial {
	bare := record.Trial{
		Schema: t.Schema, Trial: t.Trial, Round: t.Round, Repeats: t.Repeats,
		Variant: t.Variant, Class: t.Class, Plan: t.Plan, Lab: t.Lab, Engine: t.Engine, Started: t.Started,
		Connections: record.Connections{Target: t.Connections.Target},
		Stop:        record.Stop{Reason: cause.Unknown.Reason},
		Invalid:     []string{"its record could not be read again, and was left out: " + naming.Cut(why.Error())},
	}
	if cause.Named(t.Stop.Reason) != nil {
		bare.Stop.Reason = t.Stop.Reason
	}
	fillLists(&bare)
	return bare
}

// present returns an error if the run's files are no longer in its folder: what is written
// to them would be lost.
func (w *Writer) present() error {
	for _, file := range []*os.File{w.trials, w.samples} {
		ours, err := file.Stat()
		if err != nil {
			return w.explain(err)
		}
		if there, err := os.Stat(file.Name()); err != nil || !os.SameFile(ours, there) {
			return fmt.Errorf("%s was removed or replaced while it was written", file.Name())
		}
	}
	return nil
}

// fillLists turns nil lists into empty ones: null would mean that something was not
// measured.
func fillLists(t *record.Trial) {
	fill(&t.ServerCPUs)
	fill(&t.ClientCPUs)
	fill(&t.Warnings)
	fill(&t.Stop.Evidence)
	fill(&t.Steps)
	fill(&t.Phases)
	if t.Fits == nil {
		t.Fits = map[string]record.Fit{}
	}
	if t.CPU == nil {
		t.CPU = map[string]*float64{}
	}
}

func fill[T any](list *[]T) {
	if *list == nil {
		*list = []T{}
	}
}

// appendWhole appends line to file and syncs it. If the disk is full, it removes what was
// written of the line, so that the next line begins on its own.
func appendWhole(file *os.File, line []byte) error {
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if _, err := file.Write(line); err != nil {
		return errors.Join(err, file.Truncate(size))
	}
	return file.Sync()
}

// WriteStderr keeps what a trial's server wrote to its standard error in a separate file.
func (w *Writer) WriteStderr(trial int, text string) error {
	if err := atomicfile.Write(filepath.Join(w.dir, record.StderrFile(trial)), []byte(text)); err != nil {
		return w.explain(err)
	}
	return nil
}

// AppendSample adds s to the run's samples. Those of the last seconds may be lost if the
// process is killed. It leaves out a sample that could not be read again, or that would
// make the file too long to be read.
func (w *Writer) AppendSample(s record.Sample) error {
	line, err := json.Marshal(s)
	if err != nil {
		return nil
	}
	if _, err := decodeSample(line); err != nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.sampleBytes += len(line) + 1; w.sampleBytes > maxSamplesBytes {
		return nil
	}
	if err := w.present(); err != nil {
		return err
	}
	if err := w.appendSample(s.Trial, append(line, '\n')); err != nil {
		return w.explain(err)
	}
	return nil
}

func (w *Writer) appendSample(trial int, line []byte) error {
	if w.member != nil && trial != w.sampled {
		if err := w.endMember(); err != nil {
			return err
		}
	}
	if w.member == nil {
		w.member, w.sampled, w.pending = gzip.NewWriter(w.samples), trial, 0
	}
	if _, err := w.member.Write(line); err != nil {
		return err
	}
	if w.pending++; w.pending < flushSamples {
		return nil
	}
	w.pending = 0
	return w.member.Flush()
}

func (w *Writer) endMember() error {
	if w.member == nil {
		return nil
	}
	err := w.member.Close()
	w.member = nil
	return err
}

// Close ends the files. The folder can be read even if Close was never called.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := errors.Join(w.endMember(), w.trials.Close(), w.samples.Close()); err != nil {
		return w.explain(err)
	}
	return nil
}

// explain says what a failed write means, and what to do about it.
func (w *Writer) explain(err error) error {
	const elsewhere = "or choose another results folder"
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return explain.Hint(fmt.Errorf("no space left for %s", w.dir), "free some, %s", elsewhere)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return explain.Hint(fmt.Errorf("%s cannot be written: %w", w.dir, err), "get write permission, %s", elsewhere)
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrExist):
		return explain.Hint(fmt.Errorf("%s cannot be a folder, a file is in its way: %w", w.dir, err), "move the file away, %s", elsewhere)
	}
	return fmt.Errorf("cannot write the results to %s: %w", w.dir, err)
}
