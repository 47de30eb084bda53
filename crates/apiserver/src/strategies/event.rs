//! Events are selected by age, level and reason, too.

use jiff::Timestamp;

use super::strategy::Strategy;
use crate::{
    api_error::Result,
    query::{event_filter::EventFilter, params::Query},
};

pub(super) struct Events;

impl Strategy for Events {
    fn filter(&self, query: &Query, now: Timestamp) -> Result<Option<EventFilter>> {
        let filter = EventFilter::parse(query, now)?;
        Ok(Some(filter).filter(|filter| *filter != EventFilter::default()))
    }
}
