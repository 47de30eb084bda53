//! The two nftables tables of a network, and what is known of them in the kernel.

use std::io;

use crate::{Error, Result, netfilter, nft};

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Translation and filter, `table inet`.
    Rules,
    /// Interfaces and addresses, `table bridge`.
    Ports,
}

/// What somebody else's changes did to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing.
    Right,
    /// They are not what was loaded.
    Changed,
    /// Somebody changed nftables before it was known how the kernel lists ours.
    Unknown,
}

/// What was loaded, and how to find out whether it is still there.
#[derive(Debug)]
pub(crate) struct Tables {
    name: String,
    rules: Option<String>,
    ports: Option<String>,
    /// The kernel's generation of all its nftables when ours were last known to be right.
    generation: Option<u32>,
    /// What the kernel listed then; taken when it is first needed.
    listing: Option<Vec<String>>,
}

impl Tables {
    /// Nothing is known yet.
    pub(crate) fn new(name: String) -> Self {
        Self { name, rules: None, ports: None, generation: None, listing: None }
    }

    /// Whether the last load succeeded, and nobody else changed nftables meanwhile.
    pub(crate) fn are_loaded(&self) -> bool {
        self.generation.is_some()
    }

    /// Loads a table unless the kernel has exactly that, and the other one too if somebody changed it; whether
    /// anything was loaded. `change` makes the table out of the one before it and is shorter than `script`, which is
    /// all of it. One run of `nft`, none when nothing changed.
    pub(crate) async fn put(&mut self, part: Part, script: String, change: Option<&str>) -> Result<bool> {
        let known = match part {
            Part::Rules => &mut self.rules,
            Part::Ports => &mut self.ports,
        };
        let before = known.replace(script);
        let same = before == *known;
        if same && self.standing().await? == Standing::Right {
            return Ok(false);
        }
        let kept = self.generation.is_some() && self.generation == Some(self.current()?);
        let short = change.filter(|_| kept && before.is_some());
        if let Some(change) = short
            && self.load(change).await.is_ok()
        {
            return Ok(true);
        }
        let parts = if kept && !same { self.text(&[part]) } else { self.text(&[Part::Rules, Part::Ports]) };
        self.load(&parts).await.map(|()| true)
    }

    /// Loads again what was loaded, unless it is there.
    pub(crate) async fn restore(&mut self) -> Result<()> {
        match self.standing().await? {
            Standing::Right => Ok(()),
            Standing::Changed | Standing::Unknown => self.load(&self.text(&[Part::Rules, Part::Ports])).await,
        }
    }

    /// Whether the kernel has what was loaded. Nothing is run as long as nobody changed any nftables.
    pub(crate) async fn standing(&mut self) -> Result<Standing> {
        if self.rules.is_none() && self.ports.is_none() {
            return Ok(Standing::Right);
        }
        let now = self.current()?;
        if self.generation == Some(now) {
            if self.listing.is_none() {
                let listing = nft::list(&self.name).await?;
                // Only if it is of the same generation.
                self.listing = if self.current()? == now { listing } else { None };
            }
            return Ok(Standing::Right);
        }
        let Some(listing) = &self.listing else { return Ok(Standing::Unknown) };
        if nft::list(&self.name).await?.as_ref() != Some(listing) {
            return Ok(Standing::Changed);
        }
        self.generation = Some(now);
        Ok(Standing::Right)
    }

    /// What these parts are to be.
    fn text(&self, parts: &[Part]) -> String {
        let text = |part: &Part| match part {
            Part::Rules => self.rules.as_deref(),
            Part::Ports => self.ports.as_deref(),
        };
        parts.iter().filter_map(text).collect()
    }

    async fn load(&mut self, script: &str) -> Result<()> {
        self.listing = None;
        self.generation = None;
        let before = self.current()?;
        nft::load(&self.name, script).await?;
        // One step further: nobody else came between.
        let after = self.current()?;
        self.generation = (after == before.wrapping_add(1)).then_some(after);
        Ok(())
    }

    /// Removes both.
    pub(crate) async fn remove(&mut self) -> Result<()> {
        *self = Self::new(std::mem::take(&mut self.name));
        nft::remove(&self.name).await
    }

    fn current(&self) -> Result<u32> {
        let fail = |source: io::Error| Error::Netfilter { action: "ask for the generation of nftables", source };
        netfilter::generation().map_err(fail)
    }
}
