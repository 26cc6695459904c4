package namespaces

import (
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"

	"connbench/harness/explain"
)

// raiseFirewall gives the namespace that this thread is in a stateful firewall:
// "ct state invalid drop" on what comes in. From the first such rule on, the
// kernel tracks every connection of the namespace.
func raiseFirewall() error {
	c, err := nftables.New()
	if err != nil {
		return noFirewall(err)
	}
	table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: "connbench"})
	chain := c.AddChain(&nftables.Chain{
		Name: "input", Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityFilter,
	})
	c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
		&expr.Ct{Register: 1, Key: expr.CtKeySTATE},
		&expr.Bitwise{
			SourceRegister: 1, DestRegister: 1, Len: 4,
			Mask: binaryutil.NativeEndian.PutUint32(expr.CtStateBitINVALID),
			Xor:  binaryutil.NativeEndian.PutUint32(0),
		},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(0)},
		&expr.Verdict{Kind: expr.VerdictDrop},
	}})
	if err := c.Flush(); err != nil {
		return noFirewall(err)
	}
	return nil
}

func noFirewall(err error) error {
	return explain.Hint(fmt.Errorf("its firewall: %w", err), "where the kernel has no nf_tables or nf_conntrack: modprobe nft_ct; a lab without -firewall needs neither")
}
