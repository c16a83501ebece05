//! Objects of a cluster as codecs see them, and the writes that codecs ask for.
//!
//! Nothing here talks to a cluster: an adapter fills [`Objects`] from what it watches and carries an [`ObjectWrite`]
//! out. All of a Rollout's objects are in its own namespace, so none is named here.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde_json::{Value, json};
use strategies::{Fence, Name, Seen};

mod edit;
mod hash;

pub use edit::{Edits, pointer};
pub use hash::short_hash;

/// The one who writes, in `metadata.managedFields`.
pub const MANAGER: &str = "serinus";

/// The label by which pods of one template are told from those of another.
pub const POD_HASH: &str = "pod-template-hash";

/// The annotation that carries the authority an object was last written under.
pub const EPOCH: &str = "serinus.dev/epoch";

/// Group, version and kind.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Kind {
    /// Group and version, such as `apps/v1`.
    pub api_version: Name,
    /// Its name, such as `Deployment`.
    pub kind: Name,
}

/// What names one object.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ObjectRef {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: Name,
}

/// A `resourceVersion`: compared for equality only.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Version(pub Name);

/// What was read in one observation. An object that is not here does not exist, unless its kind could not be read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Objects {
    found: BTreeMap<ObjectRef, Value>,
    unread: BTreeSet<Kind>,
}

/// What a runtime must watch for a codec.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Need {
    /// Of which kind.
    pub kind: Kind,
    /// Which of them.
    pub which: Which,
    /// How much of each.
    pub detail: Detail,
}

/// Which objects of a kind.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Which {
    /// The one of this name.
    Named(Name),
    /// Those that carry this label, with this value.
    Labelled(Name, Name),
    /// Those that the selector of the object of this name matches, whoever controls them.
    SelectedBy(ObjectRef),
    /// Those that the Rollout itself controls.
    Ours,
    /// All of the namespace.
    All,
}

/// How much of an object.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Detail {
    /// Everything.
    Whole,
    /// Its metadata: enough to notice that it changed.
    Metadata,
}

/// One write to one object, fenced by the version that the observation held.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectWrite {
    /// Which object.
    pub object: ObjectRef,
    /// What is done.
    pub verb: Verb,
    /// Accepted only while the object still has this version. `None` for a create alone: its name is its fence.
    pub expected: Option<Version>,
    /// The whole object for a create; a JSON patch (RFC 6902) for a patch; nothing for a deletion.
    pub body: Value,
}

/// What is done to an object.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verb {
    /// Make it.
    Create,
    /// Change some of its fields.
    Patch,
    /// Change some fields of its status.
    PatchStatus,
    /// Delete it and, in the background, what it controls.
    Delete,
}

/// The next thing between the world and a goal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Towards<W> {
    /// Nothing: it is so.
    Reached,
    /// This write; then look again.
    Write(W),
    /// Somebody else must act first, and will: what, in words.
    Theirs(&'static str),
    /// It cannot be done: why, in words that say what helps.
    Refused(String),
}

/// Something a person should see that is no reason to stop.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Trouble {
    /// Of which object, as `Kind/name`.
    pub object: Name,
    /// What, in one sentence.
    pub what: String,
}

/// An object that is not shaped as its kind says.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{object}: {at} is not what this kind has there: {why}")]
pub struct Misshapen {
    /// Which, as `Kind/name`.
    pub object: Name,
    /// Where in it, as a JSON pointer.
    pub at: String,
    /// What was expected.
    pub why: &'static str,
}

impl Kind {
    /// This kind of this group and version.
    #[must_use]
    pub fn new(api_version: &str, kind: &str) -> Self {
        Self { api_version: api_version.into(), kind: kind.into() }
    }

    /// The object of this name.
    #[must_use]
    pub fn named(&self, name: &str) -> ObjectRef {
        ObjectRef { kind: self.clone(), name: name.into() }
    }

    /// Of which group: empty for the core.
    #[must_use]
    pub fn group(&self) -> &str {
        self.api_version.as_str().rsplit_once('/').map_or("", |(group, _)| group)
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.kind, self.name)
    }
}

impl Version {
    /// The same as a number, as the machine carries it. Versions are only compared with each other, so one that is no
    /// number is taken by its digest.
    #[must_use]
    pub fn fence(&self) -> Fence {
        let text = self.0.as_str();
        let digest = |text: &str| {
            text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
            })
        };
        Fence::At(text.parse().unwrap_or_else(|_| digest(text)))
    }
}

impl Objects {
    /// With one more object; one without kind or name is left out.
    pub fn insert(&mut self, object: Value) {
        if let Some(of) = object_ref(&object) {
            self.found.insert(of, object);
        }
    }

    /// Without this object.
    pub fn remove(&mut self, of: &ObjectRef) -> Option<Value> {
        self.found.remove(of)
    }

    /// Nothing is known of this kind.
    pub fn unread(&mut self, kind: Kind) {
        self.unread.insert(kind);
    }

    /// One object.
    #[must_use]
    pub fn seen(&self, of: &ObjectRef) -> Seen<&Value> {
        match self.found.get(of) {
            Some(it) => Seen::Is(it),
            None if self.unread.contains(&of.kind) => Seen::Unread,
            None => Seen::Absent,
        }
    }

    /// One object, where it is known and exists.
    #[must_use]
    pub fn get(&self, of: &ObjectRef) -> Option<&Value> {
        self.found.get(of)
    }

    /// Every object of a kind, by name.
    pub fn of_kind<'a>(&'a self, kind: &'a Kind) -> impl Iterator<Item = (&'a Name, &'a Value)> {
        self.found.iter().filter(move |(of, _)| of.kind == *kind).map(|(of, object)| (&of.name, object))
    }

    /// Whether nothing is known of a kind.
    #[must_use]
    pub fn is_unread(&self, kind: &Kind) -> bool {
        self.unread.contains(kind)
    }

    /// Every object.
    pub fn iter(&self) -> impl Iterator<Item = (&ObjectRef, &Value)> {
        self.found.iter()
    }
}

impl FromIterator<Value> for Objects {
    fn from_iter<I: IntoIterator<Item = Value>>(objects: I) -> Self {
        let mut all = Self::default();
        objects.into_iter().for_each(|it| all.insert(it));
        all
    }
}

impl ObjectWrite {
    /// Makes this object.
    #[must_use]
    pub fn create(object: ObjectRef, body: Value) -> Self {
        Self { object, verb: Verb::Create, expected: None, body }
    }

    /// Deletes this version of an object.
    #[must_use]
    pub fn delete(object: ObjectRef, seen: &Value) -> Self {
        Self { object, verb: Verb::Delete, expected: version(seen), body: Value::Null }
    }

    /// The patch as it is sent: it names the version that was seen, so the server takes it for a conflict if the object
    /// has another one by then.
    #[must_use]
    pub fn guarded(&self) -> Value {
        let mut all = vec![];
        if let Some(Version(version)) = &self.expected {
            all.push(
                json!({ "op": "replace", "path": "/metadata/resourceVersion", "value": version.as_str() }),
            );
        }
        all.extend(self.body.as_array().into_iter().flatten().cloned());
        Value::Array(all)
    }
}

impl<W> Towards<W> {
    /// The same with another kind of write.
    pub fn try_map<V, E>(self, write: impl FnOnce(W) -> Result<V, E>) -> Result<Towards<V>, E> {
        Ok(match self {
            Self::Reached => Towards::Reached,
            Self::Write(it) => Towards::Write(write(it)?),
            Self::Theirs(what) => Towards::Theirs(what),
            Self::Refused(why) => Towards::Refused(why),
        })
    }
}

/// What names an object, as it says itself.
#[must_use]
pub fn object_ref(object: &Value) -> Option<ObjectRef> {
    let text = |at: &str| object.pointer(at).and_then(Value::as_str);
    let kind = Kind::new(text("/apiVersion")?, text("/kind")?);
    Some(kind.named(text("/metadata/name")?))
}

/// Its version; `None` where it has none.
#[must_use]
pub fn version(object: &Value) -> Option<Version> {
    text(object, "/metadata/resourceVersion").map(|it| Version(it.into()))
}

/// Its version as the machine carries it.
#[must_use]
pub fn fence(object: &Value) -> Fence {
    version(object).map_or(Fence::At(0), |it| it.fence())
}

/// A text in it.
#[must_use]
pub fn text<'a>(object: &'a Value, at: &str) -> Option<&'a str> {
    object.pointer(at).and_then(Value::as_str)
}

/// One of its annotations.
#[must_use]
pub fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.pointer("/metadata/annotations")?.get(name)?.as_str()
}

/// The authority it was last written under.
#[must_use]
pub fn epoch(object: &Value) -> Option<strategies::Epoch> {
    annotation(object, EPOCH)?.parse().ok().map(strategies::Epoch)
}

/// Who besides the engine wrote a field last, where the server says so: `field` is its place in `managedFields`, such
/// as `["f:spec", "f:rules"]`.
#[must_use]
pub fn foreign_manager(object: &Value, field: &[&str]) -> Option<Name> {
    let entries = object.pointer("/metadata/managedFields")?.as_array()?;
    let holds =
        |entry: &&Value| field.iter().try_fold(entry.get("fieldsV1")?, |at, key| at.get(*key)).map(drop);
    let latest = entries
        .iter()
        .filter(|it| holds(it).is_some())
        .max_by_key(|it| it.get("time").and_then(Value::as_str).unwrap_or_default())?;
    latest.get("manager")?.as_str().filter(|it| *it != MANAGER).map(Name::from)
}

/// Where the engine stands in `managedFields` as one who set fields of the object itself, its status apart.
#[must_use]
pub fn own_entry(object: &Value) -> Option<usize> {
    let entries = object.pointer("/metadata/managedFields")?.as_array()?;
    let is_own = |it: &Value| {
        it.get("manager").and_then(Value::as_str) == Some(MANAGER)
            && it.get("subresource").and_then(Value::as_str).is_none_or(str::is_empty)
    };
    entries.iter().position(is_own)
}
