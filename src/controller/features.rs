//! Feature levels: which are served, and how they change (KIP-584).

use std::collections::{BTreeMap, BTreeSet};

use crate::error::FeatureError;
use crate::image::{FeatureRange, MetadataImage};
use crate::records::MetadataRecord;
use crate::request::{UpdateFeatures, UpgradeType};
use crate::snapshot::feature_record;

/// The feature that says in which formats metadata records are written.
pub const METADATA_VERSION: &str = "metadata.version";
/// The feature that says how the quorum knows its voters; its level stands in the quorum's own control records.
pub const KRAFT_VERSION: &str = "kraft.version";
/// The level of `metadata.version` that is served: 4.3-IV0.
pub const METADATA_VERSION_LEVEL: i16 = 30;
/// The level of `kraft.version` that is served: voters by directory id (KIP-853).
pub const KRAFT_VERSION_LEVEL: i16 = 1;

/// Every feature of Kafka 4.3 and the levels served; level 0 is "not in force", and what has no other is not to be told to clients.
pub const SUPPORTED_FEATURES: [(&str, FeatureRange); 7] = [
    (
        METADATA_VERSION,
        FeatureRange {
            min: METADATA_VERSION_LEVEL,
            max: METADATA_VERSION_LEVEL,
        },
    ),
    (
        KRAFT_VERSION,
        FeatureRange {
            min: KRAFT_VERSION_LEVEL,
            max: KRAFT_VERSION_LEVEL,
        },
    ),
    ("transaction.version", FeatureRange { min: 0, max: 0 }),
    ("group.version", FeatureRange { min: 0, max: 0 }),
    (
        "eligible.leader.replicas.version",
        FeatureRange { min: 0, max: 0 },
    ),
    ("share.version", FeatureRange { min: 0, max: 0 }),
    ("streams.version", FeatureRange { min: 0, max: 0 }),
];

/// The features that a node registers with and clients are told: those of which a level above 0 is served.
pub fn supported_features() -> BTreeMap<String, FeatureRange> {
    SUPPORTED_FEATURES
        .iter()
        .filter(|(_, range)| range.max > 0)
        .map(|&(name, range)| (name.to_owned(), range))
        .collect()
}

/// The feature levels of a newly formatted cluster, `kraft.version` excepted.
pub fn bootstrap_features() -> BTreeMap<String, i16> {
    BTreeMap::from([(METADATA_VERSION.to_owned(), METADATA_VERSION_LEVEL)])
}

/// The finalized levels that clients are told: those of the image and the quorum's own.
pub fn finalized_features(image: &MetadataImage) -> BTreeMap<String, i16> {
    let mut features = image.features.clone();
    features.insert(KRAFT_VERSION.to_owned(), KRAFT_VERSION_LEVEL);
    features
}

/// Checks that every finalized level is one that is served: a directory of another program may have more.
///
/// # Errors
/// The first feature that is not served at its level.
pub fn check_served(image: &MetadataImage) -> Result<(), FeatureError> {
    for (name, &level) in &image.features {
        check_level(name, level)?;
    }
    Ok(())
}

fn check_level(name: &str, level: i16) -> Result<(), FeatureError> {
    let Some((_, range)) = SUPPORTED_FEATURES
        .iter()
        .find(|(served, _)| *served == name)
    else {
        return Err(FeatureError::Unknown(name.to_owned()));
    };
    if (range.min..=range.max).contains(&level) {
        return Ok(());
    }
    Err(FeatureError::Range {
        name: name.to_owned(),
        level,
        min: range.min,
        max: range.max,
    })
}

/// The records of a change of levels, all or none.
pub(crate) fn update(
    image: &MetadataImage,
    request: &UpdateFeatures,
) -> Result<Vec<MetadataRecord>, FeatureError> {
    let mut seen = BTreeSet::new();
    let mut records = Vec::new();
    for (name, level, upgrade_type) in &request.updates {
        if !seen.insert(name) {
            return Err(FeatureError::Duplicate(name.clone()));
        }
        check_level(name, *level)?;
        let current = match name.as_str() {
            KRAFT_VERSION => KRAFT_VERSION_LEVEL,
            name => image.feature_level(name),
        };
        if *level < current && *upgrade_type == UpgradeType::Upgrade {
            return Err(FeatureError::IsDowngrade {
                name: name.clone(),
                current,
                level: *level,
            });
        }
        if *level < current && name == METADATA_VERSION {
            return Err(FeatureError::NoDowngrade(name.clone()));
        }
        if *level != current {
            records.push(feature_record(name, *level));
        }
    }
    Ok(if request.validate_only {
        Vec::new()
    } else {
        records
    })
}
