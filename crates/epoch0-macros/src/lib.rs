//! Derive macros of `epoch0-method`.
//!
//! `#[derive(Params)]` makes a parameter table from a struct: a field's doc comment is the parameter's help, and
//! `#[param(default = EXPR, range = "[0, 1)", symbol = "p", unit = "…")]` the rest. A field without a doc comment or a
//! default does not compile. `#[derive(Choice)]` makes an enum of unit variants a parameter type whose words are the
//! variants in snake case.

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use quote::quote;
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Expr, ExprLit, Field, Fields, Lit, LitStr, Meta, parse_macro_input};

/// Makes a parameter table from a struct with named fields.
#[proc_macro_derive(Params, attributes(param))]
pub fn derive_params(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    params(&input).unwrap_or_else(Error::into_compile_error).into()
}

/// Makes an enum of unit variants a parameter type.
#[proc_macro_derive(Choice)]
pub fn derive_choice(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    choice(&input).unwrap_or_else(Error::into_compile_error).into()
}

fn params(input: &DeriveInput) -> Result<Tokens, Error> {
    let name = &input.ident;
    let fields: Vec<&Field> = match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => fields.named.iter().collect(),
            Fields::Unit => Vec::new(),
            Fields::Unnamed(_) => return Err(Error::new(name.span(), "Params needs named fields")),
        },
        _ => return Err(Error::new(name.span(), "Params is for structs")),
    };
    let rows = fields.iter().map(|field| row(field)).collect::<Result<Vec<_>, _>>()?;
    let idents: Vec<_> = fields.iter().map(|field| field.ident.as_ref().expect("named")).collect();
    let keys: Vec<_> = idents.iter().map(|ident| LitStr::new(&ident.to_string(), ident.span())).collect();
    Ok(quote! {
        impl ::epoch0_method::Params for #name {
            const PARAMS: &'static [::epoch0_method::Parameter] = &[#(#rows),*];

            fn from_complete(
                get: &dyn ::core::ops::Fn(&str) -> ::epoch0_method::Value,
            ) -> ::core::option::Option<Self> {
                let _ = get;
                ::core::option::Option::Some(Self {
                    #(#idents: ::epoch0_method::ParamType::from_value(&get(#keys))?),*
                })
            }

            fn to_values(&self) -> ::epoch0_method::Values {
                ::epoch0_method::Values::from([
                    #((#keys.to_owned(), ::epoch0_method::ParamType::to_value(&self.#idents))),*
                ])
            }
        }

        impl ::core::default::Default for #name {
            fn default() -> Self {
                <Self as ::epoch0_method::Params>::from_values("", &::epoch0_method::Values::new())
                    .expect("defaults are in range")
            }
        }
    })
}

fn row(field: &Field) -> Result<Tokens, Error> {
    let ident = field.ident.as_ref().expect("named");
    let name = ident.to_string();
    let doc = doc_of(field);
    if doc.is_empty() {
        return Err(Error::new(
            field.span(),
            format!("parameter `{name}` needs a doc comment: it is its help"),
        ));
    }
    let (mut default, mut range, mut symbol, mut unit) =
        (None, "(-inf, inf)".to_owned(), String::new(), "dimensionless".to_owned());
    for attribute in field.attrs.iter().filter(|attribute| attribute.path().is_ident("param")) {
        attribute.parse_nested_meta(|meta| {
            let value = meta.value()?;
            if meta.path.is_ident("default") {
                default = Some(value.parse::<Expr>()?);
                return Ok(());
            }
            let text = value.parse::<LitStr>()?.value();
            match meta.path.get_ident().map(ToString::to_string).as_deref() {
                Some("range") => range = text,
                Some("symbol") => symbol = text,
                Some("unit") => unit = text,
                _ => return Err(meta.error("known are default, range, symbol and unit")),
            }
            Ok(())
        })?;
    }
    let Some(default) = default else {
        return Err(Error::new(field.span(), format!("parameter `{name}` needs #[param(default = …)]")));
    };
    let (min, max, min_open, max_open) = parse_range(&range).ok_or_else(|| {
        Error::new(field.span(), format!("range `{range}` is not of the form [0, 1) or (0, inf)"))
    })?;
    let (min, max) = (bound(min), bound(max));
    let ty = &field.ty;
    Ok(quote! {
        ::epoch0_method::Parameter {
            name: #name,
            doc: #doc,
            symbol: #symbol,
            unit: #unit,
            kind: <#ty as ::epoch0_method::ParamType>::KIND,
            optional: <#ty as ::epoch0_method::ParamType>::OPTIONAL,
            range: ::epoch0_method::Range { min: #min, max: #max, min_open: #min_open, max_open: #max_open },
            default: || {
                let default: #ty = #default;
                ::epoch0_method::ParamType::to_value(&default)
            },
        }
    })
}

fn doc_of(field: &Field) -> String {
    let lines = field.attrs.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value().trim().to_owned()),
            _ => None,
        },
        _ => None,
    });
    lines.collect::<Vec<_>>().join(" ").trim().to_owned()
}

fn parse_range(text: &str) -> Option<(f64, f64, bool, bool)> {
    let (open, rest) = text.split_at_checked(1)?;
    let (inner, close) = rest.split_at_checked(rest.len().checked_sub(1)?)?;
    let (min, max) = inner.split_once(',')?;
    let min_open = match open {
        "(" => true,
        "[" => false,
        _ => return None,
    };
    let max_open = match close {
        ")" => true,
        "]" => false,
        _ => return None,
    };
    Some((min.trim().parse().ok()?, max.trim().parse().ok()?, min_open, max_open))
}

fn bound(value: f64) -> Tokens {
    if value == f64::INFINITY {
        quote!(f64::INFINITY)
    } else if value == f64::NEG_INFINITY {
        quote!(f64::NEG_INFINITY)
    } else {
        quote!(#value)
    }
}

fn choice(input: &DeriveInput) -> Result<Tokens, Error> {
    let name = &input.ident;
    let Data::Enum(data) = &input.data else {
        return Err(Error::new(name.span(), "Choice is for enums"));
    };
    if let Some(variant) = data.variants.iter().find(|variant| !matches!(variant.fields, Fields::Unit)) {
        return Err(Error::new(variant.span(), "a choice has no fields"));
    }
    let idents: Vec<_> = data.variants.iter().map(|variant| &variant.ident).collect();
    let words: Vec<_> = idents.iter().map(|ident| snake_case(&ident.to_string())).collect();
    Ok(quote! {
        impl ::epoch0_method::ParamType for #name {
            const KIND: ::epoch0_method::Kind = ::epoch0_method::Kind::Choice(&[#(#words),*]);

            fn from_value(value: &::epoch0_method::Value) -> ::core::option::Option<Self> {
                match value {
                    ::epoch0_method::Value::Text(word) => match word.as_str() {
                        #(#words => ::core::option::Option::Some(Self::#idents),)*
                        _ => ::core::option::Option::None,
                    },
                    _ => ::core::option::Option::None,
                }
            }

            fn to_value(&self) -> ::epoch0_method::Value {
                ::epoch0_method::Value::Text(match self { #(Self::#idents => #words),* }.to_owned())
            }
        }
    })
}

fn snake_case(name: &str) -> String {
    let mut out = String::new();
    for (at, letter) in name.char_indices() {
        if letter.is_uppercase() && at > 0 {
            out.push('_');
        }
        out.extend(letter.to_lowercase());
    }
    out
}
