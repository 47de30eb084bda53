//! Rules into the kernel, and connections out of it that they no longer make.

use crate::{
    Error, Network, NetworkConfig, Result, Rules,
    flow::{Host, Translations},
    netfilter,
    network::State,
    render::render,
    tables::Part,
};

impl Network {
    /// Loads the rules, unless the kernel already has exactly them, and makes it forget connections that they no longer
    /// make. Returns whether anything was loaded.
    ///
    /// # Errors
    /// [`Error::PortConflict`], [`Error::Outside`] before anything is changed; [`Error::Nft`], [`Error::NftMissing`],
    /// [`Error::Netfilter`].
    pub async fn reconcile_rules(&self, rules: &Rules) -> Result<bool> {
        let NetworkConfig { pod_cidr, service_cidr, .. } = &self.config;
        rules.validate(*pod_cidr, *service_cidr)?;
        let rules = rules.normalised();
        let translations = Translations::of(&rules, &self.config);
        let mut state = self.state.lock().await;
        let changed = state.tables.put(Part::Rules, render(&self.config, &rules), None).await?;
        state.strays |= state.translations.as_ref().is_none_or(|before| before.strands(&translations));
        state.translations = Some(translations);
        if state.strays {
            self.forget_strays(&state).await?;
            state.strays = false;
        }
        Ok(changed)
    }

    /// After the rules have changed, so that nobody can make such a connection again. The lock is held meanwhile: which
    /// pods exist must not change.
    async fn forget_strays(&self, state: &State) -> Result<()> {
        let Some(translations) = state.translations.clone() else { return Ok(()) };
        let fail = |source| Error::Netfilter { action: "forget connections that no rule makes", source };
        let local = self.links.all_addresses().await?;
        let host = Host { local, pods: state.leases.all().map(|lease| lease.address).collect() };
        let forget = move || netfilter::forget(|flow| translations.is_stale(flow, &host));
        let forgotten = tokio::task::spawn_blocking(forget).await.map_err(|e| fail(std::io::Error::other(e)))?;
        let forgotten = forgotten.map_err(fail)?;
        if forgotten > 0 {
            tracing::debug!(forgotten, "connections that no rule makes any more");
        }
        Ok(())
    }
}
