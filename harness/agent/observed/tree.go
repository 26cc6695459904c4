package observed

import (
	"errors"
	"fmt"
	"strings"

	"connbench/harness/probe"
	"connbench/servers/family"
)

// Tree is what a process and its descendants use together.
type Tree struct {
	RSSBytes   int64   `json:"rss_bytes"`
	CPUSeconds float64 `json:"cpu_seconds"`
}

// ReadTree adds up what the process pid and its descendants use.
func ReadTree(reader *probe.Reader, pid int) (sum Tree, err error) {
	for _, pid := range append(family.Descendants(pid), pid) {
		p, err := reader.Process(pid, probe.Light)
		if errors.Is(err, probe.ErrEnded) {
			continue
		}
		if err != nil {
			return sum, err
		}
		if p.RSSBytes == nil || p.CPUSeconds == nil {
			return sum, fmt.Errorf("process %d: %s", pid, strings.Join(p.Warnings, ", "))
		}
		sum.RSSBytes += *p.RSSBytes
		sum.CPUSeconds += *p.CPUSeconds
	}
	return sum, nil
}
