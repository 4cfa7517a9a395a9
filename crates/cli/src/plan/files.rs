//! ConfigMaps, Secrets and empty directories that a container mounts (Kubernetes API reference, Volume).
//!
//! Other volumes hold what this machine does not have; each is a note, and the container starts without it.

use std::{fmt, path::PathBuf, sync::Arc};

use mizzen_api::{Kind, k8s};

use super::{
    Sources, Trouble,
    container::PodContext,
    environment::{data_of, id_of},
};

/// Default mode of files (`defaultMode`).
const MODE: u32 = 0o644;

/// Something that appears in a container's file system.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Mount {
    /// Absolute, as the container sees it.
    pub(crate) path: PathBuf,
    /// Relative names; one with an empty name is the mount itself (`subPath`). None at all is a writable directory.
    pub(crate) files: Vec<MountedFile>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct MountedFile {
    pub(crate) name: String,
    pub(crate) contents: Arc<[u8]>,
    pub(crate) mode: u32,
}

/// Contents may be a Secret's.
impl fmt::Debug for MountedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes, {:o})", self.name, self.contents.len(), self.mode)
    }
}

pub(super) fn mounts(
    declared: &k8s::Container,
    path: &str,
    pod: &PodContext<'_>,
    sources: &mut Sources<'_, '_>,
) -> Result<Vec<Mount>, Trouble> {
    let mut mounts = Vec::new();
    for (at, mount) in declared.volume_mounts.iter().flatten().enumerate() {
        let path = format!("{path}.volumeMounts[{at}]");
        let volumes = pod.spec.volumes.iter().flatten().enumerate();
        let Some((at, volume)) = volumes.into_iter().find(|(_, volume)| volume.name == mount.name) else {
            return Err(Trouble::new(path, format!("no volume `{}`", mount.name)));
        };
        let volume_path = format!("spec.template.spec.volumes[{at}]");
        let Some(mut files) = contents(volume, &volume_path, pod, sources)? else {
            sources.notes.push(Trouble::new(volume_path, "a volume of this type is not mounted here"));
            continue;
        };
        if let Some(sub_path) = &mount.sub_path {
            files.retain(|file| file.name == *sub_path);
            let Some(file) = files.first_mut() else {
                return Err(Trouble::new(format!("{path}.subPath"), format!("no `{sub_path}` in `{}`", mount.name)));
            };
            file.name.clear();
        }
        if !mount.mount_path.starts_with('/') {
            return Err(Trouble::new(format!("{path}.mountPath"), "expected an absolute path"));
        }
        mounts.push(Mount { path: PathBuf::from(&mount.mount_path), files });
    }
    Ok(mounts)
}

/// The files of a volume; `None` for a type that has no meaning here.
fn contents(
    volume: &k8s::Volume,
    path: &str,
    pod: &PodContext<'_>,
    sources: &Sources<'_, '_>,
) -> Result<Option<Vec<MountedFile>>, Trouble> {
    if volume.empty_dir.is_some() {
        return Ok(Some(Vec::new()));
    }
    let (kind, name, items, mode, optional, path) = if let Some(map) = &volume.config_map {
        (Kind::ConfigMap, map.name.as_str(), &map.items, map.default_mode, map.optional, format!("{path}.configMap"))
    } else if let Some(secret) = &volume.secret {
        let name = secret.secret_name.as_deref().unwrap_or_default();
        (Kind::Secret, name, &secret.items, secret.default_mode, secret.optional, format!("{path}.secret"))
    } else {
        return Ok(None);
    };
    let mode = |own: Option<i32>| own.or(mode).and_then(|mode| u32::try_from(mode).ok()).unwrap_or(MODE);
    let Some(mut data) = data_of(kind, name, pod.name, sources.objects) else {
        let missing = || Trouble::new(&path, format!("no {}", id_of(kind, name, pod.name)));
        return if optional == Some(true) { Ok(Some(Vec::new())) } else { Err(missing()) };
    };
    let Some(items) = items.as_ref().filter(|items| !items.is_empty()) else {
        let all = data.into_iter().map(|(name, bytes)| MountedFile { name, contents: bytes.into(), mode: mode(None) });
        return Ok(Some(all.collect()));
    };
    let mut files = Vec::new();
    for (at, item) in items.iter().enumerate() {
        let path = format!("{path}.items[{at}]");
        if item.path.starts_with('/') || item.path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(Trouble::new(format!("{path}.path"), "expected a relative path without `..`"));
        }
        match data.remove(&item.key) {
            Some(bytes) => {
                files.push(MountedFile { name: item.path.clone(), contents: bytes.into(), mode: mode(item.mode) });
            }
            None if optional == Some(true) => {}
            None => {
                return Err(Trouble::new(path, format!("no key `{}` in {}", item.key, id_of(kind, name, pod.name))));
            }
        }
    }
    Ok(Some(files))
}
