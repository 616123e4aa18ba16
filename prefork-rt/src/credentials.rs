//! Who the workers become: found out before the first fork, taken on in each worker.
//!
//! It must not know how a worker is made.

use crate::config::Account;
use crate::error::Error;
use crate::sys::{self, Gid, Uid};

/// What a worker changes of its user and groups, and the words for who it is then.
pub(crate) struct Credentials {
    pub(crate) who: String,
    user: Option<Uid>,
    group: Option<Gid>,
    groups: Option<Vec<Gid>>,
}

impl Credentials {
    /// Finds out who is meant, and whether this process may become that. `None` where nobody was asked for.
    pub(crate) fn resolve(user: Option<&Account>, group: Option<&Account>) -> Result<Option<Credentials>, Error> {
        let Some(asked) = user.or(group) else { return Ok(None) };
        let user = user.map(Person::find).transpose()?;
        let named = group.map(find_group).transpose()?;
        let group = named.or(user.as_ref().and_then(|user| user.group));
        let groups = match (&user, group) {
            (Some(Person { name: Some(name), .. }), Some(group)) => {
                Some(sys::getgrouplist(name, group).map_err(system("getgrouplist(3)"))?)
            }
            (_, Some(group)) => Some(vec![group]),
            (_, None) => None,
        };
        let uid = user.as_ref().map(|user| user.uid);
        if let (Some(Person { uid, name: None, .. }), None) = (&user, group) {
            if !sys::uids().contains(uid) {
                return Err(asked.refuse(format!(
                    "user {uid} has no entry in the system's list of users (`getent passwd {uid}`), so its group is not \
                     known: name one with the option group"
                )));
            }
        }
        let who: Vec<String> = user.iter().map(Person::describe).chain(group.map(describe_group)).collect();
        Credentials { who: who.join(", "), user: uid, group, groups }.only_what_changes(asked).map(Some)
    }

    /// Who is this already needs no rights, and changes nothing.
    fn only_what_changes(mut self, asked: &Account) -> Result<Credentials, Error> {
        let (uids, gids) = (sys::uids(), sys::gids());
        let needs_user = self.user.is_some_and(|uid| !uids.contains(&uid));
        let needs_group = self.group.is_some_and(|gid| !gids.contains(&gid));
        let missing = sys::missing_rights(needs_user, needs_user || needs_group);
        if !missing.is_empty() {
            return Err(asked.refuse(format!(
                "this process may not become {}: it is not root and lacks {}; start it as root or with these \
                 capabilities, or leave the option out",
                self.who,
                missing.join(", ")
            )));
        }
        if needs_user || needs_group {
            self.check_namespace(asked)?;
        }
        let may_set_groups = sys::missing_rights(false, true).is_empty() && !sys::groups_are_fixed();
        self.groups = self.groups.filter(|groups| may_set_groups && !sys::has_groups(groups));
        self.user = self.user.filter(|uid| uids.iter().any(|own| own != uid));
        self.group = self.group.filter(|gid| gids.iter().any(|own| own != gid));
        Ok(self)
    }

    fn check_namespace(&self, asked: &Account) -> Result<(), Error> {
        let why = if self.user.is_some_and(|uid| !sys::has_uid(uid)) || self.group.is_some_and(|gid| !sys::has_gid(gid))
        {
            "this user namespace (of a rootless container, say) has no such id: map it (/etc/subuid, /etc/subgid), or \
             take one that /proc/self/uid_map and gid_map have"
        } else if sys::groups_are_fixed() {
            "this user namespace does not let anybody change groups (/proc/self/setgroups says deny)"
        } else {
            return Ok(());
        };
        Err(asked.refuse(format!("this process cannot become {}: {why}", self.who)))
    }

    /// Becomes who was asked for, for good. After an error this process must end: it may have more rights than that.
    pub(crate) fn assume(&self) -> Result<(), Error> {
        if let Some(groups) = &self.groups {
            sys::setgroups(groups).map_err(system("setgroups(2)"))?;
        }
        if let Some(group) = self.group {
            sys::become_group(group).map_err(system("setgid(2)"))?;
        }
        let Some(user) = self.user else { return Ok(()) };
        sys::become_user(user).map_err(system("setuid(2)"))?;
        if user.is_root() {
            return Ok(());
        }
        sys::drop_capabilities().map_err(system("capset(2)"))?;
        if sys::can_become_root() {
            let reason = std::io::Error::other("it did not last: the process could become root again");
            return Err(system("setuid(2)")(reason));
        }
        Ok(())
    }
}

fn system(call: &'static str) -> impl Fn(std::io::Error) -> Error {
    move |source| Error::System { call, source }
}

/// A user that was asked for.
struct Person {
    uid: Uid,
    /// As the system calls it, if it does.
    name: Option<String>,
    /// The primary group, where there is one to change to.
    group: Option<Gid>,
}

impl Person {
    fn find(asked: &Account) -> Result<Person, Error> {
        let name = &asked.name;
        let number = asked.number().map(Uid::from_raw);
        let entry = match number {
            Some(uid) => sys::getpwuid(uid).map_err(system("getpwuid(3)"))?,
            None => sys::getpwnam(name).map_err(system("getpwnam(3)"))?,
        };
        match (entry, number) {
            (Some(user), _) => Ok(Person { uid: user.uid, name: Some(user.name), group: Some(user.gid) }),
            (None, Some(uid)) => Ok(Person { uid, name: None, group: None }),
            (None, None) => Err(asked.refuse(format!(
                "there is no user {name:?} on this system: `getent passwd` lists them; write a name or a number"
            ))),
        }
    }

    fn describe(&self) -> String {
        match &self.name {
            Some(name) => format!("user {name} (uid {})", self.uid),
            None => format!("uid {}", self.uid),
        }
    }
}

fn find_group(asked: &Account) -> Result<Gid, Error> {
    match asked.number() {
        Some(gid) => Ok(Gid::from_raw(gid)),
        None => match sys::getgrnam(&asked.name).map_err(system("getgrnam(3)"))? {
            Some(group) => Ok(group.gid),
            None => Err(asked.refuse(format!(
                "there is no group {:?} on this system: `getent group` lists them; write a name or a number",
                asked.name
            ))),
        },
    }
}

fn describe_group(gid: Gid) -> String {
    match sys::getgrgid(gid) {
        Ok(Some(group)) => format!("group {} (gid {gid})", group.name),
        Ok(None) | Err(_) => format!("gid {gid}"),
    }
}
