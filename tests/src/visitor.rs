//! Somebody who visits the console without a screen: keeps its cookies, follows where it is led, fills in forms as they stand.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use http::header::{COOKIE, LOCATION, SET_COOKIE};
use http::{HeaderMap, StatusCode};
use reqwest::Method;

use crate::http::Answer;
use crate::issuer::{ADMIN, Issuer};

/// Whoever visits.
#[derive(Debug, Clone)]
pub struct Visitor<'a> {
    issuer: &'a Issuer,
    /// By name.
    pub cookies: BTreeMap<String, String>,
    /// What a proxy in front would add, or a script.
    pub headers: Vec<(&'static str, String)>,
}

/// A page.
#[derive(Debug, Clone)]
pub struct Page {
    /// Where it is.
    pub path: String,
    /// How it came.
    pub status: StatusCode,
    /// With which headers.
    pub headers: HeaderMap,
    /// The HTML.
    pub text: String,
}

/// A form on a page, as it stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Form {
    /// Where it is sent.
    pub action: String,
    /// Its hidden fields.
    pub hidden: Vec<(String, String)>,
    /// The names of all its fields.
    pub fields: BTreeSet<String>,
}

impl<'a> Visitor<'a> {
    /// Somebody who was never here.
    pub fn new(issuer: &'a Issuer) -> Self {
        Self {
            issuer,
            cookies: BTreeMap::new(),
            headers: Vec::new(),
        }
    }

    /// The configured administrator, signed in.
    pub async fn administrator(issuer: &'a Issuer) -> Self {
        let mut visitor = Self::new(issuer);
        visitor.signs_in(ADMIN.0, ADMIN.1).await;
        visitor
    }

    /// Signs in.
    ///
    /// # Panics
    /// When that is refused.
    pub async fn signs_in(&mut self, email: &str, password: &str) {
        let page = self.sees("/admin/sign-in").await;
        let fields = [("email", email), ("password", password)];
        let page = self.submits(&page, "/admin/sign-in", &fields).await;
        assert_eq!(page.path, "/admin", "{}", page.text);
    }

    /// What the forms of this session carry.
    pub async fn form_token(&mut self) -> String {
        let page = self.sees("/admin/account").await;
        let hidden = page.form("/admin/sign-out").hidden;
        hidden.into_iter().map(|(_, value)| value).collect()
    }

    /// The answer to a request, without following it anywhere. Cookies are kept.
    pub async fn asks(
        &mut self,
        method: Method,
        path: &str,
        form: Option<&[(&str, &str)]>,
    ) -> Answer {
        let mut request = self.issuer.request(method, path);
        if !self.cookies.is_empty() {
            let pairs = self.cookies.iter();
            let pairs: Vec<_> = pairs
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            request = request.header(COOKIE, pairs.join("; "));
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        if let Some(form) = form {
            request = request.form(form);
        }
        let answer = Answer::to(request).await;
        for set in answer.headers.get_all(SET_COOKIE) {
            let set = set.to_str().expect("a cookie is ASCII");
            let pair = set.split(';').next().and_then(|pair| pair.split_once('='));
            let (name, value) = pair.expect("a cookie has a name and a value");
            match set.contains("Max-Age=0") {
                true => self.cookies.remove(name),
                false => self.cookies.insert(name.to_owned(), value.to_owned()),
            };
        }
        answer
    }

    /// The page at `path`, wherever that leads.
    pub async fn opens(&mut self, path: &str) -> Page {
        let answer = self.asks(Method::GET, path, None).await;
        self.follows(path, answer).await
    }

    /// The page at `path`.
    ///
    /// # Panics
    /// When there is none, or somewhere else.
    pub async fn sees(&mut self, path: &str) -> Page {
        let page = self.opens(path).await;
        assert_eq!(
            (page.status.as_u16(), page.path.as_str()),
            (200, path),
            "{}",
            page.text
        );
        page
    }

    /// Sends the form of `page` that goes to `action`, with these fields beside its hidden ones, and sees what comes then.
    ///
    /// # Panics
    /// When the page has no such form, or the form no such field.
    pub async fn submits(&mut self, page: &Page, action: &str, fields: &[(&str, &str)]) -> Page {
        let form = page.form(action);
        for (name, _) in fields {
            assert!(
                form.fields.contains(*name),
                "{action} has no field {name}: {form:?}"
            );
        }
        let hidden = form.hidden.iter();
        let mut sent: Vec<(&str, &str)> = hidden
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        sent.extend_from_slice(fields);
        let answer = self.asks(Method::POST, action, Some(&sent)).await;
        self.follows(action, answer).await
    }

    async fn follows(&mut self, path: &str, mut answer: Answer) -> Page {
        let mut path = path.to_owned();
        for _ in 0..5 {
            if answer.status != StatusCode::SEE_OTHER {
                break;
            }
            path = answer.header(LOCATION.as_str()).to_owned();
            answer = self.asks(Method::GET, &path, None).await;
        }
        Page {
            path,
            status: answer.status,
            headers: answer.headers,
            text: answer.text,
        }
    }

    /// All pages that links lead to, from the first one on.
    ///
    /// # Panics
    /// When a link leads nowhere.
    pub async fn wanders(&mut self) -> Vec<Page> {
        let mut waiting = VecDeque::from(["/admin".to_owned()]);
        let mut seen = BTreeSet::from(["/admin".to_owned()]);
        let mut pages = Vec::new();
        while let Some(path) = waiting.pop_front() {
            let page = self.opens(&path).await;
            assert_eq!(page.status, 200, "{path}: {}", page.text);
            let is_page = page.headers["content-type"]
                .to_str()
                .is_ok_and(|content_type| content_type.starts_with("text/html"));
            if !is_page {
                continue;
            }
            for link in page.links() {
                if link.starts_with("/admin") && seen.insert(link.clone()) {
                    waiting.push_back(link);
                }
            }
            pages.push(page);
        }
        pages
    }
}

impl Page {
    /// The form that goes to `action`.
    ///
    /// # Panics
    /// When there is none.
    pub fn form(&self, action: &str) -> Form {
        let forms = self.forms();
        let form = forms.iter().find(|form| form.action == action);
        form.unwrap_or_else(|| panic!("{}: no form goes to {action}, but {forms:?}", self.path))
            .clone()
    }

    /// All forms that change something.
    pub fn forms(&self) -> Vec<Form> {
        let forms = self.text.split("<form").skip(1);
        let forms = forms.filter_map(|rest| {
            let form = rest.split("</form>").next()?;
            let (head, _) = form.split_once('>')?;
            (attribute(head, "method")? == "post").then(|| Form {
                action: attribute(head, "action").unwrap_or_else(|| self.path.clone()),
                hidden: hidden(form),
                fields: elements(form, &["<input", "<select", "<textarea"])
                    .filter_map(|element| attribute(element, "name"))
                    .collect(),
            })
        });
        forms.collect()
    }

    /// Where links lead.
    pub fn links(&self) -> Vec<String> {
        let links = elements(&self.text, &["<a "]);
        links.filter_map(|link| attribute(link, "href")).collect()
    }

    /// The text of the element with that `id`.
    ///
    /// # Panics
    /// When there is none.
    pub fn text_of(&self, id: &str) -> String {
        let begin = format!("id=\"{id}\"");
        let (_, rest) = self
            .text
            .split_once(&begin)
            .unwrap_or_else(|| panic!("{}: nothing is called {id}: {}", self.path, self.text));
        let (_, rest) = rest.split_once('>').expect("an element has an end");
        unescaped(rest.split('<').next().unwrap_or_default())
    }

    /// Whether it says that.
    pub fn says(&self, text: &str) -> bool {
        unescaped(&self.text).contains(text)
    }
}

fn hidden(form: &str) -> Vec<(String, String)> {
    let inputs = elements(form, &["<input"]);
    inputs
        .filter(|input| attribute(input, "type").as_deref() == Some("hidden"))
        .filter_map(|input| Some((attribute(input, "name")?, attribute(input, "value")?)))
        .collect()
}

fn elements<'a>(html: &'a str, kinds: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
    kinds.iter().flat_map(move |kind| {
        let found = html.split(*kind).skip(1);
        found.filter_map(|rest| rest.split('>').next())
    })
}

fn attribute(element: &str, name: &str) -> Option<String> {
    let (_, rest) = element.split_once(&format!("{name}=\""))?;
    rest.split('"').next().map(unescaped)
}

fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#60;", "<")
        .replace("&#62;", ">")
        .replace("&#34;", "\"")
        .replace("&#39;", "'")
        .replace("&#x27;", "'")
        .replace("&#38;", "&")
        .replace("&amp;", "&")
}
