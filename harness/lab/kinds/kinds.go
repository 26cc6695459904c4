// Package kinds has all kinds of labs: a new one is a folder and a line here.
package kinds

import (
	_ "connbench/harness/lab/hosts"
	_ "connbench/harness/lab/kubernetes"
	_ "connbench/harness/lab/local"
	_ "connbench/harness/lab/netns"
	_ "connbench/harness/lab/slurm"
	_ "connbench/harness/lab/vagrant"
)
