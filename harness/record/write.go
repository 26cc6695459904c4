package record

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// flushSamples is the number of samples after which a killed run has them on
// disk: ten seconds' worth.
const flushSamples = 20

// Writer writes the folder of one run as it goes on: whatever was measured is on
// disk when its method returns, so that a run that is killed keeps it. Its
// methods may be called from several goroutines.
type Writer struct {
	dir string

	mu      sync.Mutex
	trials  *os.File
	samples *os.File
	// member is the gzip member that takes the samples of trial sampled; nil
	// between trials. A member each trial makes every trial's samples readable
	// whatever becomes of the next one's.
	member  *gzip.Writer
	sampled int
	pending int
}

// Create makes the folder of a new run, and the folders above it. A folder that
// has files in it is left alone, and is an error.
func Create(dir string) (*Writer, error) {
	w := &Writer{dir: dir}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, w.explain(err)
	}
	switch entries, err := os.ReadDir(dir); {
	case err != nil:
		return nil, w.explain(err)
	case len(entries) > 0:
		return nil, fmt.Errorf("%s is not empty: choose another results folder, or move this one away", dir)
	}
	var err error
	if w.trials, err = create(dir, TrialsFile); err != nil {
		return nil, w.explain(err)
	}
	if w.samples, err = create(dir, SamplesFile); err != nil {
		return nil, w.explain(errors.Join(err, w.trials.Close()))
	}
	if err := syncDir(dir); err != nil {
		return nil, w.explain(errors.Join(err, w.trials.Close(), w.samples.Close()))
	}
	return w, nil
}

// create makes a file that must not be there yet.
func create(dir, name string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o644)
}

// WriteManifest puts m in the place of the manifest before it, which a reader
// sees whole until then. It sets m's schema.
func (w *Writer) WriteManifest(m Manifest) error {
	if err := WriteManifest(w.dir, m); err != nil {
		return w.explain(err)
	}
	return nil
}

// WriteManifest puts m in the place of the manifest in the folder of a run that
// has ended.
func WriteManifest(dir string, m Manifest) error {
	m.Schema = Schema
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("manifest cannot be written as JSON: %w", err)
	}
	return WriteFile(filepath.Join(dir, ManifestFile), append(text, '\n'))
}

// AppendTrial adds t to the run's trials and waits until it is on the disk. It
// sets t's schema, and ends the samples of the trial.
func (w *Writer) AppendTrial(t Trial) error {
	t.Schema = Schema
	t.fillLists()
	line, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("trial %d cannot be written as JSON: %w", t.Trial, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.endMember(); err != nil {
		return w.explain(err)
	}
	if err := appendWhole(w.trials, append(line, '\n')); err != nil {
		return w.explain(err)
	}
	return nil
}

// fillLists makes lists that hold nothing empty instead of null: null says that
// something could not be measured.
func (t *Trial) fillLists() {
	fill(&t.ServerCPUs)
	fill(&t.ClientCPUs)
	fill(&t.Warnings)
	fill(&t.Stop.Evidence)
	fill(&t.Steps)
	fill(&t.Phases)
	if t.Fits == nil {
		t.Fits = map[string]Fit{}
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

// appendWhole adds line to the end of file and syncs it. What a full disk took
// of a line it takes back, so that the next line begins on a line of its own.
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

// WriteStderr keeps what a trial's server wrote to its standard error, in a file of its
// own.
func (w *Writer) WriteStderr(trial int, text string) error {
	if err := WriteFile(filepath.Join(w.dir, StderrFile(trial)), []byte(text)); err != nil {
		return w.explain(err)
	}
	return nil
}

// AppendSample adds s to the run's samples. Samples of the last seconds may be
// lost when the process is killed.
func (w *Writer) AppendSample(s Sample) error {
	line, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("sample of trial %d cannot be written as JSON: %w", s.Trial, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
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

// Close ends the files. The folder stays readable without it.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := errors.Join(w.endMember(), w.trials.Close(), w.samples.Close()); err != nil {
		return w.explain(err)
	}
	return nil
}

// explain says what a failed write means to the person who started the run.
func (w *Writer) explain(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("no space left for %s: free some, or choose another results folder", w.dir)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%s cannot be written: get write permission, or choose another results folder (%w)", w.dir, err)
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%s cannot be a folder, a file is in its way: choose another results folder (%w)", w.dir, err)
	}
	return fmt.Errorf("cannot write the results to %s: %w", w.dir, err)
}

// WriteFile writes text to path as a whole or not at all, and waits until it is
// on the disk: a new file takes the old one's place by rename(2).
func WriteFile(path string, text []byte) (err error) {
	dir := filepath.Dir(path)
	file, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	_, err = file.Write(text)
	err = errors.Join(err, file.Chmod(0o644), file.Sync(), file.Close())
	if err != nil {
		return err
	}
	if err = os.Rename(file.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes the names of new files in dir last (fsync(2): the directory
// needs a call of its own).
func syncDir(dir string) error {
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
