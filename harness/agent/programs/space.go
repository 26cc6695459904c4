package programs

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Space returns the folder where programs are kept, and how many bytes may still be written
// there.
func Space() (folder string, free int64, err error) {
	if folder, err = Folder(); err != nil {
		return folder, 0, err
	}
	var s unix.Statfs_t
	if err := unix.Statfs(folder, &s); err != nil {
		return folder, 0, fmt.Errorf("%s: %w", folder, err)
	}
	return folder, int64(s.Bavail) * s.Bsize, nil
}
